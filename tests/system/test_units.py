# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the text of units makes a real systemd do: every byte of a command arrives, and every directive of the sandboxes
bites, or is said to be without effect on this kernel.
"""

from __future__ import annotations

import json
import random

import pytest
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors import systemd, units
from ansible_collections.tetra.platform.plugins.module_utils.host.supervisors.base import UnitSpec
from ansible_collections.tetra.platform.plugins.module_utils.model import launch_script

from .conftest import Servers

RELEASES = {"dev-1": "bookworm", "staging-1": "bullseye", "staging-2": "trixie"}
SEED = 20261125
CASES = 60
# What means something to systemd, to a shell or to C, besides letters.
SIGNS = [*"aZ0 \t\n\r'\"\\%$;{}()[]<>|&*?~#!@:+-=,/äß€\x01\x7f\x1b", "%h", "${HOME}", "$HOME", "%%", ";", "\U0001f600"]
DUMP = """
import json, os, sys
with open(sys.argv[1], "w") as file:
    json.dump([sys.argv[2:], dict(os.environ)], file)
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Prepared hosts."""
    made = Servers(tmp_path_factory.mktemp("servers"), RELEASES)
    try:
        prepared = made.play("prepare")
        assert prepared.code == 0, prepared.output
        yield made
    finally:
        made.down()


@pytest.fixture(params=RELEASES)
def host(request, servers):
    """Each host in turn."""
    return servers.hosts[request.param]


def word(chance: random.Random) -> str:
    return "".join(chance.choice(SIGNS) for _number in range(chance.randint(0, 12)))


def spec(name: str, argv: list[str], script: str = "") -> UnitSpec:
    return UnitSpec(unit=name, argv=argv, log="", stop_timeout=1.0, restart="no", max_restarts=0, owner="lab/dev/x",
                    script=script, description=word(random.Random(name)))


@pytest.mark.guarantee("A06")
@pytest.mark.guarantee("A07")
def test_words_and_variables_reach_a_process_byte_for_byte(host):
    chance = random.Random(SEED)
    wanted = [([word(chance) for _number in range(chance.randint(0, 6))],
               {f"V{number}": word(chance) for number in range(3)}) for _number in range(CASES)]
    special = ["", "+x", "-x", "!x", "@x", ":x", "|x", ";", "\\", "\\x41", "%n", "$$", "${PATH}"]
    special += ["a\nExecStart=+/bin/id"]
    wanted += [([one, one], {"V0": one}) for one in special]
    files = {"/tmp/dump.py": DUMP}
    for number, (words, variables) in enumerate(wanted):
        program = ["/usr/bin/python3", "/tmp/dump.py"]
        files[f"/etc/systemd/system/plain-{number}.service"] = units.service(
            spec(f"plain-{number}", [*program, f"/tmp/plain-{number}", *words]), "/var/lib/tetra")
        record = {"service": "x", "argv": [*program, f"/tmp/launched-{number}", *words], "cwd": "/",
                  "environment": variables, "pre_commands": [], "max_restarts": 0}
        files[f"/tmp/launch-{number}.sh"] = launch_script.text(record)
        launched = spec(f"launched-{number}", list(systemd.LAUNCHER), f"/tmp/launch-{number}.sh")
        files[f"/etc/systemd/system/launched-{number}.service"] = units.service(launched, "/var/lib/tetra")
    writer = "import json, sys\n" \
             "for path, text in json.load(sys.stdin).items(): open(path, 'wb').write(text.encode())"
    host.run(f'python3 -c "{writer}"', data=json.dumps(files))
    names = [f"{kind}-{number}.service" for kind in ("plain", "launched") for number in range(len(wanted))]
    host.run(f"systemctl daemon-reload; systemctl start {' '.join(names)}; rm -f /etc/systemd/system/*-[0-9]*.service")
    reader = "import json; print(json.dumps([json.load(open(f'/tmp/{k}-{n}')) for k in ('plain', 'launched') " \
             f"for n in range({len(wanted)})]))"
    got = json.loads(host.run(f'sleep 1; python3 -c "{reader}"'))
    for number, (words, variables) in enumerate(wanted):
        assert got[number][0] == words
        launched = got[len(wanted) + number]
        assert launched[0] == words
        assert {name: launched[1][name] for name in variables} == variables
    print(f"{host.name} ({RELEASES[host.name]}): {2 * len(wanted)} units, every word and variable as it was written")


# What a program must not be able to do under a directive, as an expression that is true when it can.
ACTS = {
    "NoNewPrivileges": "subprocess.run(['sudo', '-n', 'true'], capture_output=True).returncode == 0",
    "LockPersonality": "libc.personality(8) != -1",
    "PrivateTmp": "os.path.exists('/tmp/probe')",
    "ProtectClock": "works(lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))",
    "ProtectControlGroups": "works(lambda: os.rmdir(tempfile.mkdtemp(dir='/sys/fs/cgroup/cpu')))",
    "ProtectHome": "works(lambda: open('/root/probe', 'w'))",
    "ProtectHostname": "works(lambda: socket.sethostname(socket.gethostname()))",
    "ProtectKernelLogs": "libc.klogctl(3, ctypes.create_string_buffer(64), 64) != -1",
    "ProtectKernelModules": "os.listdir('/usr/lib/modules') != []",
    "ProtectKernelTunables": "works(lambda: open('/proc/sys/kernel/domainname', 'r+').write('x'))",
    "ProtectSystem": "works(lambda: open('/var/probe' if strict else '/usr/probe', 'w'))",
    "RestrictRealtime": "works(lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)))",
    "RestrictSUIDSGID": "works(lambda: os.chmod('/run/probe', 0o4755))",
    "CapabilityBoundingSet": "works(lambda: os.chown('/run/probe', 1, 1))",
    "PrivateDevices": "os.path.exists('/dev/console')",
    "ProtectProc": "os.path.exists('/proc/1/stat')",
    "RestrictAddressFamilies": "works(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))",
    "RestrictNamespaces": "libc.unshare(0x04000000) != -1",
    "SystemCallFilter": "libc.mount(b'none', b'/mnt', b'tmpfs', 0, None) != -1",
    "UMask": "os.stat(os.open('/run/made', os.O_CREAT)).st_mode & 0o077 != 0",
}
# Without a program of another architecture there is nothing to try.
UNTRIED = {"SystemCallArchitectures"}
AS_A_USER = {"NoNewPrivileges", "ProtectProc"}
PROBE = """
import ctypes, os, socket, subprocess, sys, tempfile, time
libc = ctypes.CDLL(None)
strict = {strict}
def works(act):
    try:
        act()
    except OSError:
        return False
    return True
print('can' if {act} else 'cannot')
"""


def can(host, name: str, strict: bool, *properties: str) -> bool:
    """Whether a program can do what a directive is to keep it from, in a unit with some properties."""
    as_user = ["User=admin"] if name in AS_A_USER else []
    options = " ".join(f"--property='{one}'" for one in [*as_user, *properties])
    said = host.run(
        "cat > /tmp-probe.py; rm -f /run/made; touch /tmp/probe /run/probe; chmod 0755 /run/probe\n"
        "chown 0:0 /run/probe\n"
        f"systemd-run --quiet --wait --pipe {options} /usr/bin/python3 /tmp-probe.py\n"
        "umount /mnt 2> /dev/null; rm -f /var/probe /usr/probe /root/probe",
        data=PROBE.format(strict=strict, act=ACTS[name]), check=False,
    )  # fmt: skip
    # A program that is killed for what it tries cannot do it either.
    return said.split()[:1] == ["can"]


def test_every_directive_of_the_sandboxes_bites(host):
    rows = []
    for sandbox in ("standard", "strict"):
        for name, value in units.SANDBOXES[sandbox].items():
            if name in UNTRIED or (sandbox == "strict" and units.SANDBOXES["standard"].get(name) == value):
                continue
            strict = sandbox == "strict"
            before, after = can(host, name, strict), can(host, name, strict, f"{name}={value}")
            assert not after, f"{name}={value} does not keep a program from it"
            rows.append((sandbox, f"{name}={value}", "bites" if before else "without effect: nobody can do it here"))
    print(f"\n{host.name} ({RELEASES[host.name]})")
    print("\n".join(f"  {sandbox:9} {directive:50} {result}" for sandbox, directive, result in rows))
    print(f"  untried   {', '.join(sorted(UNTRIED))}")
    assert sum(result == "bites" for _sandbox, _directive, result in rows) >= 12
    assert set(ACTS) | UNTRIED == set(units.SANDBOXES["strict"])


def test_a_service_that_wants_too_much_memory_is_ended(host):
    program = "import time; data = bytearray(200 * 1024 * 1024); print(len(data)); time.sleep(1)"
    limits = "--property=MemoryMax=64M --property=MemorySwapMax=0"
    said = host.run(f'systemd-run --quiet --wait --pipe {limits} /usr/bin/python3 -c "{program}"', check=False)
    assert str(200 * 1024 * 1024) not in said


def test_a_service_gets_no_more_of_the_processor_than_it_may(host):
    program = "import time; end = time.monotonic() + 1\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
    said = host.run(f'systemd-run --quiet --wait --pipe --property=CPUQuota=20% /usr/bin/python3 -c "{program}"')
    assert float(said.split()[0]) < 0.7
