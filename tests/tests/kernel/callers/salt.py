"""Calls every function of Salt's module lvs, and prints the results.

The module is loaded alone: of Salt it wants three functions, and a way to run commands, which are here.
"""

import shutil
import subprocess
import sys
import types


def module(name, **contents):
    """A module of that name for those that import it."""
    made = types.ModuleType(name)
    vars(made).update(contents)
    sys.modules[name] = made
    return made


salt = module("salt")
salt.utils = module("salt.utils")
salt.utils.decorators = module("salt.utils.decorators", memoize=lambda function: function)
salt.utils.path = module("salt.utils.path", which=shutil.which)
salt.exceptions = module("salt.exceptions", SaltException=type("SaltException", (Exception,), {}))


def run_all(command, python_shell):
    assert not python_shell
    ran = subprocess.run(command.split(), capture_output=True, text=True)
    return {"retcode": ran.returncode, "stdout": ran.stdout, "stderr": ran.stderr}


lvs = types.ModuleType("lvs")
lvs.__salt__ = {"cmd.run_all": run_all, "cmd.run": lambda *a, **b: run_all(*a, **b)["stdout"].strip()}
with open(sys.argv[1]) as file:
    exec(compile(file.read(), sys.argv[1], "exec"), vars(lvs))
assert lvs.__virtual__() == "lvs"


def call(name, *words, **named):
    typed = [repr(word) for word in words] + [f"{name}={value!r}" for name, value in named.items()]
    print(f"{name}({', '.join(typed)}) =", getattr(lvs, name)(*words, **named))


WEB = ("tcp", "10.0.0.1:80")
MARK = ("fwmark", "7")
DNS = ("udp", "10.0.0.1:53")
V6 = ("tcp", "[2001:db8::1]:80")

call("clear")
call("list_")
for service in [WEB, MARK, DNS, V6]:
    call("check_service", *service)
    call("add_service", *service, scheduler="rr")
    call("check_service", *service)
    call("check_service", *service, scheduler="rr")
    call("check_service", *service, scheduler="wlc")
call("add_service", *WEB)
call("add_service", *DNS, scheduler="nosuch")
call("edit_service", *WEB, scheduler="wrr")
call("edit_service", "tcp", "10.0.0.9:80", scheduler="wrr")

call("add_server", *WEB, "10.1.0.1:80", packet_forward_method="nat", weight=3)
call("check_server", *WEB, "10.1.0.1:80", packet_forward_method="nat")
call("check_server", *WEB, "10.1.0.1:80", packet_forward_method="nat", weight=3)
call("check_server", *WEB, "10.1.0.1:80", packet_forward_method="dr", weight=3)
call("add_server", *WEB, "10.1.0.2:80")
call("add_server", *WEB, "10.1.0.3:80", packet_forward_method="tunnel")
call("check_server", *WEB, "10.1.0.3:80", packet_forward_method="tunnel", weight=1)
call("add_server", *MARK, "10.1.0.1:0", packet_forward_method="nat")
call("add_server", *V6, "[2001:db8:1::1]:80", packet_forward_method="nat")
call("check_server", *V6, "[2001:db8:1::1]:80")
call("add_server", *WEB, "10.1.0.2:80")
call("add_server", "tcp", "10.0.0.9:80", "10.1.0.2:80")
call("edit_server", *WEB, "10.1.0.1:80", packet_forward_method="nat", weight=9)
call("edit_server", *WEB, "10.1.0.9:80", packet_forward_method="nat", weight=9)
call("edit_server", "tcp", "10.0.0.9:80", "10.1.0.1:80")

call("list_")
call("list_", *WEB)
call("list_", "tcp", "10.0.0.9:80")
call("get_rules")
call("zero")
call("zero", *WEB)
call("zero", "tcp", "10.0.0.9:80")

call("delete_server", *WEB, "10.1.0.2:80")
call("delete_server", *WEB, "10.1.0.2:80")
call("check_server", *WEB, "10.1.0.2:80")
call("delete_service", *MARK)
call("delete_service", *MARK)
call("get_rules")
