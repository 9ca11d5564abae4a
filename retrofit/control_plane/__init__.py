"""The control plane that an image will meet: its release, what it writes, what it presents; pure.

Facts of ours about releases of Octavia, with their sources. The tests prove them by rendering with
Octavia's own packages of each release (`tests/component/control_plane`).
"""
