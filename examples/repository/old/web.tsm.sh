#!/bin/bash
# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# As another system has it, whose shell is to expand HOST and PORT when it starts the service.
# shellcheck disable=SC2016
export TSM_NAME="web"
export TSM_DESCRIPTION="Pages of the shop"
export TSM_CWD="${HOME}/shop/web"
export TSM_COMMAND='python3 -m http.server --bind "$HOST" "$PORT"'
export TSM_PORT="8080"
export TSM_HEALTH_CHECK="http://localhost:${TSM_PORT}/"
