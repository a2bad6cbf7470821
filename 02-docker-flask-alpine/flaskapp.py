"""The smallest Flask application. `flask run` finds it through FLASK_APP, which the Dockerfile sets."""

from flask import Flask

app = Flask(__name__)


@app.route("/")
def flask_main():
    """Return the one page of this example."""
    return "<h1>Flask is running</h1><p>Awesome, that worked.  Now add more code.</p>"
