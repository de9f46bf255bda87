"""The report: one page that sets methods side by side and lets a reader question the figures.

    filed ─▶ seen ─▶ order · agreement ─┐
      └────▶ breakdown · compared ──────┼─▶ content (plain data) ─▶ page (HTML) · drawn (PDF, SVG)
    runs ──▶ curves ────────────────────┘                       └─▶ site (cards, hub results)

Everything that is read is plain data from the workspace; the page draws it in the browser and needs
nothing from elsewhere.
"""
