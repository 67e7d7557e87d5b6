"""Reports of analyses: one offline page, pictures and data. Nothing here needs the Dash application."""
