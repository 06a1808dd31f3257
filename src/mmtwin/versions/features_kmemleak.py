"""What kmemleak of each kernel has: the kmemleak section of kernel/features.pxd, row by row.

The form of a row: versions/features.py. All of it is mm/kmemleak.c. An empty commit: the
release is known, the commit's number in the mainline is not confirmed.
"""

from mmtwin.versions.facts import Change, Feature

KMEMLEAK = (
    Feature("kmemleak_object_bytes", "sizeof(struct kmemleak_object) without lock debugging", 304,
            Change("6.3", 168, "56a61617dd22"), Change("7.3", 176, "")),
    Feature("kmemleak_phys", "physical addresses have a tree of their own", 0,
            Change("6.0", 1, "0c24e061196c")),
    Feature("kmemleak_age", "a report says how old an object is", 1,
            Change("6.8", 0, "88f9ee2b3040")),
    Feature("kmemleak_crc", "a report says the object's checksum", 0,
            Change("6.8", 1, "52c5d2bc3213")),
    Feature("kmemleak_pointers", "a report has hashed pointers before the symbols", 1,
            Change("6.14", 0, "cddc76b16516", ("6.12.9",))),
    Feature("kmemleak_types", "texts name the kind of object; dump= looks inside objects", 0,
            Change("6.15", 1, "7ddeb91f5b03")),
    Feature("kmemleak_first_crc", "a new object's checksum is none: it counts as modified", 0,
            Change("7.2", 1, "", ("6.12.107",))),
    Feature("kmemleak_confirms", "a scan that finds leaks is done twice", 0,
            Change("7.3", 1, "")),
    Feature("kmemleak_color_warns", "colouring an unknown object is complained of", 1,
            Change("7.2", 0, "")),
)
