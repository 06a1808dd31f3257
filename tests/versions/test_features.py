"""The feature table: every field has a row, values follow releases and configurations."""

import re

import pytest

from mmtwin.kernel.features import FEATURES
from mmtwin.versions.facts import Change, Facts, Feature
from mmtwin.versions.features import all_features, features_of
from mmtwin.versions.profiles import profile, profile_names
from mmtwin.versions.releases import has_since, nearest_release, numbers, release_key

FIELDS = [name for name, _ in FEATURES._fields_]


def test_every_field_has_a_row_and_every_row_a_field() -> None:
    assert sorted(FIELDS) == sorted(feature.name for feature in all_features())


@pytest.mark.parametrize("feature", list(all_features()), ids=lambda feature: feature.name)
def test_changes_are_in_order_and_name_commit_and_release(feature: Feature) -> None:
    releases = [numbers(change.release) for change in feature.changes]
    assert releases == sorted(releases)
    assert feature.meaning
    for change in feature.changes:
        assert re.fullmatch(r"[0-9a-f]{12}|", change.commit)
        assert numbers(change.release) > (5, 10, 0)


@pytest.mark.parametrize("name", profile_names())
def test_values_of_every_profile_fit_their_fields(name: str) -> None:
    record = FEATURES()
    for field, value in profile(name).features.items():
        setattr(record, field, value)
        assert getattr(record, field) == value


def test_a_value_holds_from_its_release_on() -> None:
    later = Change("6.7", 5, "1" * 12, ("6.1.60",))
    row = Feature("x", "?", 0, Change("5.14", 3, "0" * 12), later)

    def value(version: str) -> int:
        return row.value(Facts(version, "arm64", 4096, {}))

    assert [value(v) for v in ("5.10", "5.13.19", "5.14", "6.1.59")] == [0, 0, 3, 3]
    assert [value(v) for v in ("6.1.60", "6.1", "6.2", "6.7", "7.3")] == [5, 5, 3, 5, 5]


def test_a_row_may_need_a_switch_and_an_architecture() -> None:
    row = Feature("x", "?", 7, config="CONFIG_A CONFIG_B", arch="x86_64", without=2)
    both = {"CONFIG_A": "y", "CONFIG_B": "m"}
    assert row.value(Facts("6.1", "x86_64", 4096, both)) == 7
    assert row.value(Facts("6.1", "arm64", 4096, both)) == 2
    assert row.value(Facts("6.1", "x86_64", 4096, {"CONFIG_A": "y"})) == 2
    assert row.value(Facts("6.1", "x86_64", 4096, {**both, "CONFIG_B": "n"})) == 2


def test_debian_releases_are_read() -> None:
    assert release_key("6.1.0-50-amd64") == release_key("6.1")
    assert release_key("6.12.107+deb13-amd64") == (6, 12, 107)
    assert has_since("5.10.0-32-amd64", "5.10")
    assert nearest_release("6.16.3") == "6.12"
    assert nearest_release("4.19") == "5.10"
    with pytest.raises(ValueError, match="not a kernel release"):
        features_of("linux", "arm64", 4096, {})


@pytest.mark.parametrize(
    ("name", "feature", "value"),
    [
        ("arm64-5.13", "pcp_max_order", 0),
        ("x86_64-6.1", "pcp_max_order", 3),
        ("x86_64-5.10", "cpu_partial_counts_slabs", 0),
        ("x86_64-6.1", "cpu_partial_counts_slabs", 1),
        ("arm64-5.10", "kmalloc_minalign", 128),
        ("arm64-6.12", "kmalloc_minalign", 8),
        ("x86_64-6.18", "sheaves", 1),
        ("x86_64-7.3", "sheaves", 2),
    ],
)
def test_known_values(name: str, feature: str, value: int) -> None:
    assert profile(name).features[feature] == value
