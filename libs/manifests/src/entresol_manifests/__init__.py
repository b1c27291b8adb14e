"""Reading, checking and evaluating manifests. Import from the modules: this package holds no names of its own."""
