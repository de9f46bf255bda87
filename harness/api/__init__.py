"""The library's calls: what `import harness` exports, and what the command line is a layer over."""
