"""The forms in which a person's examples come, and the readers of each (`mygo.data.folders` reads folders)."""
