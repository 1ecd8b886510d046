"""Quadriga's Grafana dashboards, one module each; `docker/grafana/make_dashboards.py` writes them as JSON.

What a panel shows is a recording rule of docker/prometheus/rules where there is one, so that a figure is defined once,
and alerts, panels and their readers mean the same by it.
"""
