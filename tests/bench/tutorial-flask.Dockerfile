# The tutorial's Flask image of 2022, rewritten, with current versions because the pinned ones no longer work.
# bench.py builds it in 01-docker-flask.
FROM python:3.14-slim-trixie
RUN pip install --upgrade pip
RUN useradd -m myuser
USER myuser
WORKDIR /home/myuser
COPY --chown=myuser:myuser requirements.txt flaskapp.py ./
RUN pip install --user -r requirements.txt
ENV PATH="/home/myuser/.local/bin:${PATH}" FLASK_APP=flaskapp FLASK_RUN_PORT=8080 FLASK_RUN_HOST=0.0.0.0
CMD ["flask", "run"]
