"""What happened to many hosts, and how it is shown: events, timelines, a live table, JUnit, one HTML page."""
