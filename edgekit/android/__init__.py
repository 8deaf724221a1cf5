"""Bundles in the Android demo's assets, and its APK without Android Studio."""
