"""The cause of a failure in what apt, dpkg, uv, pip, gpgv and others print; pure.

Their last line is seldom the cause: dpkg ends with an exit code, apt with "is not signed", uv
with the first link of a chain. The forms are those of apt 1.2 to 3.0, dpkg 1.18 to 1.22, uv 0.1 to
0.9, pip 20 to 25; tests/unit/system/logs has what such programs printed when made to fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

REPOSITORY = r"(?P<where>\S+://\S+ \S+)(?: InRelease| Release(?:\.gpg)?)?"
SIGNATURE = re.compile(
    r"(?:W|E|Err):? (?:An error occurred during the signature verification\. .*?)?"
    rf"(?:GPG error|OpenPGP signature verification failed): {REPOSITORY}: (?P<what>.*)"
)
NOT_SIGNED = re.compile(rf"E: The repository '{REPOSITORY}' is (?:not|no longer) signed\.")
NO_RELEASE = re.compile(rf"E: The repository '{REPOSITORY}' does not have a Release file\.")
NOT_FETCHED = re.compile(r"[EW]: Failed to fetch (?P<where>\S+)  (?P<what>\S.*)")
NOT_GOT = re.compile(r"Err(?::\d+)? (?P<where>\S+://\S+.*)")
PORTAL = re.compile(r"Clearsigned file isn't valid, got '\w+'")
ADDRESS = re.compile(r" ?\[IP: [^]]*\]")
VALIDITY = re.compile(r"E: (?P<what>Release file for .* is (?:not valid yet|expired) .*)")
UNMET = "The following packages have unmet dependencies:"
CONFLICT = re.compile(r"E: Unable to satisfy dependencies\.")
APT = re.compile(
    r"E: (?P<what>Unable to locate package|Package '.*' has no installation candidate|Version '.*'"
    r" for '.*' was not found|Could not get lock|dpkg was interrupted|Couldn't find any package|"
    r"The value '.*' is invalid|Malformed|Type '.*' is not known|Held packages were changed|"
    r"You don't have enough free space)"
)
DPKG = re.compile(r"dpkg: error processing (?P<kind>package|archive) (?P<name>\S+) \(--?[\w-]+\):")
PROBLEMS = re.compile(r"dpkg: dependency problems prevent .* of (?P<name>\S+):")
CHATTER = re.compile(
    r"(?:Setting up|Unpacking|Preparing|Selecting|Processing|\(Reading|Get:|Removing|dpkg: |Errors"
    r" were|debconf: |dpkg-preconfigure: )"
)
CHAIN = re.compile(r"\s+(?:cause|Caused by): (?P<what>.*)|\s+[╰├]─▶ (?P<last>.*)")
CHAIN_LINKS = re.compile(
    r"(?:error sending request|client error|tcp connect error|dns error|error resolving DNS"
    r"|error trying to connect|connection error|Request failed after|Could not connect)"
)
UV = re.compile(r"(?:error: |\s*\u00d7 )(?P<what>.*)")
UV_HINT = re.compile(
    r"\s*hint: (?P<what>An index URL .* could not be queried.*|.*requires-python.*)"
)
PIP = re.compile(r"ERROR: (?P<what>Could not find a version that satisfies .*|.*HTTP error \d+.*)")
PIP_BROKEN = re.compile(
    r"WARNING: Retrying .* after connection broken by '(?P<what>.*)': (?P<where>\S+)"
)
PIP_HASHES = re.compile(r"ERROR: THESE PACKAGES DO NOT MATCH THE HASHES")
PIP_UNTRUSTED = re.compile(
    r"WARNING: (?P<what>The repository located at \S+ is not a trusted or secure host)"
)
PIP_INDEX = re.compile(r"Looking in indexes: (?P<where>\S+)")
PIP_INNER = re.compile(r"(?P<what>\[SSL: \w+\] .*?)(?: \(_ssl|'|$)|.*(?P<rest>\[Errno.*?)['\"),]*$")
GPGV_KEY = re.compile(r"gpgv: +using \w+ key (?:ID )?(?P<key>[0-9A-F]+)")
GPGV = re.compile(
    r"gpgv: (?P<what>BAD signature from .*|Can't check signature: .*|no valid OpenPGP data found"
    r"|Note: signature key .*|keyblock resource .*|error .*)"
)
QEMU = re.compile(r"(?P<what>qemu-(?:img|system-\w+): (?!warning).*)")
DIB = re.compile(r"(?:.*\.)?MissingElementException: (?P<what>Element '.*' not found)")
FULL = re.compile(r"No space left on device")
SHOWN = 8
"""Causes of one failure: more say no more."""


Found = tuple[int, str]
"""The number of a line, and the sentence that it gives."""


def causes(lines: Sequence[str]) -> list[str]:
    """Return what the lines show to be the cause, a sentence each; empty where none is known.

    Of several programs that complain the last one counts: others were not the end.
    """
    plain = [line[2:] if line.startswith("> ") else line for line in lines]
    full = [line.strip() for line in plain if FULL.search(line)]
    if full:
        return _unique(full)
    best: list[Found] = []
    for program in PROGRAMS:
        found = next((each for reader in program if (each := [*reader(plain)])), [])
        if found and (not best or found[-1][0] > best[-1][0]):
            best = found
    return _unique(sentence for _, sentence in best)[-SHOWN:]


def _of_dpkg(lines: Sequence[str]) -> Iterator[Found]:
    """Yield the packages that fail by themselves; those that wait for another only without one."""
    own, waiting = [], []
    for at, line in enumerate(lines):
        if (found := DPKG.match(line)) is None:
            continue
        name = f"{found['kind']} {found['name'].rpartition('/')[2]}"
        reason = _continued(lines, at)
        if "dependency problems" in reason:
            waiting.append((at, f"{name}: {_problems(lines, found['name']) or reason}"))
            continue
        printed = _before(lines, at)
        own.append((at, f"{name}: {reason}{f' ({printed})' if printed else ''}"))
    yield from own or waiting


def _of_signatures(lines: Sequence[str]) -> Iterator[Found]:
    for at, line in enumerate(lines):
        if (found := SIGNATURE.match(line)) is not None:
            yield at, f"{found['where']}: {_key(found['what'])}"
        elif (found := VALIDITY.match(line)) is not None:
            yield at, found["what"]


def _key(what: str) -> str:
    """Return what is wrong with a key, in words."""
    if (found := re.search(r"EXPKEYSIG ([0-9A-F]+) (.*)", what)) is not None:
        return f"key {found[1]} ({found[2].strip()}) has expired"
    if (found := re.search(r"KEYEXPIRED (\d{5,12})", what)) is not None:
        return f"its key expired on {datetime.fromtimestamp(int(found[1]), UTC):%Y-%m-%d}"
    if (found := re.search(r"REVKEYSIG ([0-9A-F]+) (.*)", what)) is not None:
        return f"key {found[1]} ({found[2].strip()}) was revoked"
    if (found := re.search(r"NO_PUBKEY ([0-9A-F]+)", what)) is not None:
        return f"it is signed by key {found[1]}, which is not among the trusted ones"
    if (found := re.search(r"BADSIG ([0-9A-F]+) (.*)", what)) is not None:
        return (
            f"the signature of key {found[1]} ({found[2].strip()}) does not match the content: the"
            " mirror is being updated, damaged, or changed on the way"
        )
    return _portal(what) or what.rpartition("error message is: ")[2]


def _portal(what: str) -> str:
    if PORTAL.search(what) is None:
        return ""
    return "the answer is a page and no index: something on the way asks for a log-in"


def _of_fetches(lines: Sequence[str]) -> Iterator[Found]:
    """Yield what each address answered; the lines with `Err` where nothing else names it."""
    named = False
    for at, line in enumerate(lines):
        if (found := NOT_FETCHED.match(line)) is not None:
            named = True
            what = ADDRESS.sub("", found["what"]).strip()
            yield at, f"{found['where']}: {_portal(what) or ' '.join(what.split())}"
    for at, line in enumerate(lines):
        if not named and (found := NOT_GOT.match(line)) is not None:
            what = ADDRESS.sub("", _continued(lines, at, lines_of_it=1)).strip()
            yield at, f"{found['where']}: {_key(' '.join(what.split()))}"


def _of_dependencies(lines: Sequence[str]) -> Iterator[Found]:
    for at, line in enumerate(lines):
        if line.strip() == UNMET or CONFLICT.match(line):
            for below, each in enumerate(lines[at + 1 :], at + 1):
                if not each.startswith((" ", "\t")) or not each.strip():
                    break
                yield below, " ".join(each.split())
        elif APT.match(line):
            yield at, line.removeprefix("E: ").strip()


def _of_repositories(lines: Sequence[str]) -> Iterator[Found]:
    for at, line in enumerate(lines):
        if (found := NO_RELEASE.match(line)) is not None:
            yield at, f"{found['where']} has no Release file"
        elif (found := NOT_SIGNED.match(line)) is not None:
            yield at, f"{found['where']} is not signed"


def _of_uv(lines: Sequence[str]) -> Iterator[Found]:
    """Yield the beginning of each chain, and its last link: those between say only how it went."""
    for at, line in enumerate(lines):
        if (found := UV_HINT.match(line)) is not None:
            yield at, found["what"].strip()
        if (found := UV.match(line)) is None:
            continue
        links = [found["what"].strip(), *_links(lines, at)]
        if len(links) == 1:
            continue
        kept = [link for link in links[:-1] if not CHAIN_LINKS.match(link)]
        if links[0].startswith("No solution found"):
            kept = []
        yield at, ": ".join((*kept, links[-1]))


def _links(lines: Sequence[str], at: int) -> list[str]:
    links: list[str] = []
    for line in lines[at + 1 :]:
        if (found := CHAIN.match(line)) is not None:
            links.append((found["what"] or found["last"] or "").strip())
        elif links and line.startswith("   ") and line.strip():
            links[-1] = f"{links[-1]} {line.strip()}"
        elif line.strip():
            break
    return links


def _of_pip(lines: Sequence[str]) -> Iterator[Found]:
    """Yield what the index answered, where pip shows it: its last line never does."""
    index, broken = "", None
    for at, line in enumerate(lines):
        if (found := PIP_INDEX.match(line)) is not None:
            index = f"{found['where']}: "
        elif (found := PIP_BROKEN.match(line)) is not None:
            inner = PIP_INNER.search(found["what"])
            what = (inner["what"] or inner["rest"]) if inner else found["what"]
            broken = f"{index}{what}"
        elif PIP_HASHES.match(line):
            yield at, f"the hash differs: {' '.join(' '.join(lines[at + 1 : at + 4]).split())}"
        elif (found := PIP.match(line)) is not None:
            yield at, broken or found["what"].strip()
        elif (found := PIP_UNTRUSTED.match(line)) is not None:
            yield at, found["what"].strip()


def _of_gpgv(lines: Sequence[str]) -> Iterator[Found]:
    key = ""
    for at, line in enumerate(lines):
        if (found := GPGV_KEY.match(line)) is not None:
            key = f" (key {found['key']})"
        elif (found := GPGV.match(line)) is not None:
            yield at, f"{found['what'].strip()}{key}"


def _of_others(lines: Sequence[str]) -> Iterator[Found]:
    for at, line in enumerate(lines):
        for form in (DIB, QEMU):
            if (found := form.match(line)) is not None:
                yield at, found["what"].strip()


Reader = Callable[[Sequence[str]], Iterator[Found]]
PROGRAMS: tuple[tuple[Reader, ...], ...] = (
    (_of_dpkg, _of_signatures, _of_fetches, _of_dependencies, _of_repositories),
    (_of_uv,),
    (_of_pip,),
    (_of_gpgv,),
    (_of_others,),
)
"""By program; of apt the nearer to the cause comes first: what one finds, those after it repeat."""


def _continued(lines: Sequence[str], at: int, *, lines_of_it: int = 3) -> str:
    """Return the indented lines that follow a line, as one."""
    found = []
    for line in lines[at + 1 : at + 1 + lines_of_it]:
        if not line.startswith((" ", "\t")):
            break
        found.append(line.strip())
    return " ".join(found)


def _before(lines: Sequence[str], at: int) -> str:
    """Return the last line that a package's script printed before dpkg gave up."""
    line = lines[at - 1] if at else ""
    return "" if CHATTER.match(line) or line.startswith(" ") else line.strip()


def _problems(lines: Sequence[str], name: str) -> str:
    """Return which dependency of a package is not there."""
    for at, line in enumerate(lines):
        if (found := PROBLEMS.match(line)) is not None and found["name"] == name:
            return _continued(lines, at)
    return ""


def _unique(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(each for each in found if each.strip()))
