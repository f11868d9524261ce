"""Bundles and pipelines that `hilum` finds by name where this distribution is installed."""
