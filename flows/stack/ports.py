"""Ports that other programs hold are told before anything starts, with the setting that chooses another."""

from __future__ import annotations

import socket

from flows.errors import PortTaken, StackError
from flows.stack.services import Stack


def check_ports(stack: Stack) -> None:
    """See whether the stack can listen where it wants to.

    Raises:
        PortTaken: another program does.
        StackError: two services want one port, or the address is not this machine's.
    """
    wanted = {
        "MLFLOW_PORT": ("MLflow", stack.host, stack.mlflow_port),
        "PREFECT_PORT": ("Prefect", stack.host, stack.prefect_port),
        "MIEN_PORT": ("the service", stack.service_host, stack.service_port),
    }
    ports = [port for _, _, port in wanted.values()]
    if len(set(ports)) < len(ports):
        given = ", ".join(f"{variable}={port}" for variable, (_, _, port) in wanted.items())
        raise StackError(f"two services want one port ({given}); give each its own")
    for variable, (service, host, port) in wanted.items():
        try:
            _listen(host, port)
        except PermissionError as error:
            raise StackError(
                f"{variable}: port {port} needs rights ({error}); choose one above 1023"
            ) from error
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno in _NO_SUCH_ADDRESS:
                raise StackError(f"{host} is no address of this machine ({error}); correct HOST") from error
            raise PortTaken(service=service, host=host, port=port, variable=variable, others=ports) from error


def _listen(host: str, port: int) -> None:
    """Listen for a moment; as servers do, a port whose last connections still time out is free."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)


# EADDRNOTAVAIL on Linux and on macOS.
_NO_SUCH_ADDRESS = (99, 49)
