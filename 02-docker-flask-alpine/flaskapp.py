"""The smallest Flask application: one page."""

from flask import Flask

app = Flask(__name__)


@app.route("/")
def flask_main():
    """Return the one page of this example."""
    return "<h1>Flask is running</h1><p>Awesome, that worked.  Now add more code.</p>"
