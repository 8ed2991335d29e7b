"""Kits: a device without a network is asked by one file, and its one reply is judged like answers that came by ssh.

``making`` writes one, ``reply`` reads what it wrote; the answers reach a connection by ``transport.recorded``.
"""
