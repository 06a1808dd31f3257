"""The features record of features.pxd for the uncompiled run."""

from mmtwin.kernel.structs import load_structs

FEATURES = load_structs("features.pxd")["features_t"]
