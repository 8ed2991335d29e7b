"""What ssh says is told as what it means; what nobody foresaw is shown as it is. Texts: OpenSSH 7.2 to 9.9."""

import pytest

from edgekd.targets.transport.trouble import hosts_in, trouble

SAID = {
    "ssh: connect to host 10.0.0.5 port 22: Connection timed out": "the device does not answer",
    "Connection timed out during banner exchange\nConnection to 10.0.0.5 port 22 timed out": "the device does not answer",
    "ssh: connect to host 10.0.0.5 port 22: No route to host": "there is no way to the device in this network",
    "ssh: connect to host orin port 22: Connection refused": "nothing listens at the device's ssh port",
    "ssh: Could not resolve hostname orin: Temporary failure": "the name of the device's host cannot be resolved",
    "Timeout, server 10.0.0.5 not responding.": "the connection to the device was lost",
    "client_loop: send disconnect: Broken pipe": "the connection to the device was lost",
    "Connection reset by 10.0.0.5 port 22": "the connection to the device was lost",
    "kex_exchange_identification: read: Connection reset by peer": "the connection to the device was lost",
    "mux_client_read_packet: read header failed: Broken pipe": "the connection to the device was lost",
    "": "the connection to the device was lost",
    "nano@orin: Permission denied (publickey,password).": "the device does not let us in",
    "Received disconnect from 10.0.0.5 port 22:2: Too many authentication failures": "the device does not let us in",
    "No ED25519 host key is known for orin and you have requested strict checking.\nHost key verification failed.":
        "this machine does not know the device's host key yet",
    "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.":
        "the host key of the device is not the one this machine knows",
    "/home/me/.ssh/config: line 3: Bad configuration option: frobnicate": "ssh does not take its configuration",
    "Bad owner or permissions on /home/me/.ssh/config": "ssh does not take its configuration",
    "Unable to negotiate with 10.0.0.5 port 22: no matching host key type found. Their offer: ssh-rsa":
        "ssh here and on the device have no method in common",
    "something new": "ssh could not reach the device",
}  # fmt: skip


@pytest.mark.parametrize(("said", "what"), SAID.items(), ids=[words.split("\n")[0][:40] or "nothing" for words in SAID])
def test_ssh_s_words_are_told_as_what_they_mean_and_shown(said, what):
    error = trouble(said.encode(), "ssh nano@orin", "jetson: connect")
    assert (error.what, error.where, error.exit_code) == (what, "jetson: connect", 6)
    assert error.seen.startswith("ssh nano@orin: ") and " ".join(said.split()) in error.seen
    assert error.fix and "{ssh}" not in error.fix


@pytest.mark.parametrize("said", [*SAID, "Connection to 10.0.0.5 closed by remote host.", "Connection closed by 10.0.0.5 port 22",
                                  "Host key for [10.0.0.5]:2222 has changed and you have requested strict checking.",
                                  "ssh-keygen -f /home/me/.ssh/known_hosts -R '[10.0.0.5]:2222'",
                                  "and the key for the corresponding IP address 10.0.0.5\nis unchanged.",
                                  "nano@10.0.0.5: Permission denied (publickey)."])  # fmt: skip
def test_every_host_that_ssh_names_is_found_and_nothing_else(said):
    named = {name for name in ("10.0.0.5", "orin") if name in said}
    found = hosts_in(f"ssh -p 22 alias: {said}")
    assert named <= found and all(any(name in one for name in named) for one in found)
