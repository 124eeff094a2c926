# SPDX-License-Identifier: Apache-2.0
"""Cluster files of one device describe the same device: else a comparison of clusters would be one of their files."""
from collections import defaultdict
from pathlib import Path

import yaml

CLUSTERS = Path(__file__).resolve().parents[2] / "configs/clusters"


def test_clusters_of_one_device_have_its_rates_and_shares():
    by_device = defaultdict(dict)
    for file in sorted(CLUSTERS.glob("*.yaml")):
        cluster = yaml.safe_load(file.read_text(encoding="utf-8"))
        links = {name: cluster["links"].get(name) for name in ("device", "host", "to_host", "message_s")}
        by_device[cluster["device"]["name"]][file.name] = (cluster["device"], cluster["efficiency"], links)
    assert any(len(files) > 1 for files in by_device.values())
    for device, files in by_device.items():
        first = next(iter(files))
        assert [name for name, described in files.items() if described != files[first]] == [], (device, first)
