"""What every floor stands on: configuration, stages, the workspace, jobs, files and hardware."""
