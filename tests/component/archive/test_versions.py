"""dpkg orders versions as `retrofit.archive.versions` does."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from retrofit.archive.versions import debian_order

PART = st.text(alphabet="019.+~ab", min_size=1, max_size=6)
VERSIONS = st.builds(
    lambda epoch, upstream, revision: f"{epoch}1{upstream}{revision}",
    st.sampled_from(["", "0:", "1:"]),
    PART,
    st.one_of(st.just(""), PART.map(lambda part: f"-{part}")),
)


@settings(max_examples=150, deadline=None)
@given(VERSIONS, VERSIONS)
def test_versions_are_ordered_as_dpkg_does(one: str, other: str) -> None:
    for relation, same in (
        ("lt", debian_order(one) < debian_order(other)),
        ("eq", debian_order(one) == debian_order(other)),
    ):
        asked = subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False)
        assert (asked.returncode == 0) is same, (one, relation, other)
