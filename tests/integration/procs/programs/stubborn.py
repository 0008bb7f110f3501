"""Never looks whether it is evicted."""

import time

from sigmaos_ray import SigmaClnt


def main(argv: list[str]) -> None:
    SigmaClnt().started()
    while True:
        time.sleep(1)
