# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge between Ansible and the operations: the only file that knows AnsibleModule."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible.module_utils.basic import AnsibleModule

from .model.errors import REFUSED, TetraError

TETRA_DIR = {"tetra_dir": {"type": "path", "default": "/var/lib/tetra"}}
ENVIRONMENT = {**TETRA_DIR, "org": {"type": "str", "required": True}, "env": {"type": "str", "required": True}}
REQUEST = {"request": {"type": "dict", "required": True}}


def run_module(operation: Callable[[Mapping], dict], arguments: Mapping, **options: object) -> None:
    """Run one operation as a module: parameters in, result or error out.

    :param operation: the function of ``host.operations`` that does the work.
    :param arguments: the argument spec; ``options`` are further ones of AnsibleModule, such as ``required_if``.
    """
    module = AnsibleModule(argument_spec=dict(arguments), supports_check_mode=True, **options)
    request = {key: value for key, value in module.params.items() if value is not None}
    request["check"] = module.check_mode
    try:
        result = operation(request)
    except TetraError as error:
        module.fail_json(msg=str(error), message=error.message, code=error.code, hint=error.hint)
    except OSError as error:
        text = f"{error.filename or 'the host'}: {error.strerror or error}"
        module.fail_json(msg=text, message=text, code=REFUSED, hint="")
    if not module._diff:
        result.pop("diff", None)
    module.exit_json(**result)


def refuse_on_host(name: str, arguments: Mapping) -> None:
    """Fail: a module whose work is done by the action plugin of its name was run on a host.

    :param arguments: the argument spec.
    """
    AnsibleModule(argument_spec=dict(arguments), supports_check_mode=True).fail_json(
        msg=f"{name} works on the controller; call it as a task of a playbook"
    )
