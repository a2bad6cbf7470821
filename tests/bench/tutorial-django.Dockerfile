# The tutorial's Django image of 2022, rewritten, with current versions because the pinned ones no longer work.
# bench.py builds it in 03-docker-compose-django.
FROM python:3.14-slim-trixie
RUN pip install --upgrade pip
RUN apt-get -y update
RUN apt-get -y upgrade
RUN apt-get -y install libpq-dev
RUN useradd -m myuser
USER myuser
WORKDIR /home/myuser
COPY --chown=myuser:myuser requirements.txt init.py ./
COPY --chown=myuser:myuser codesolid_demo .
RUN pip install --user -r requirements.txt
COPY --chown=myuser:myuser --chmod=766 <<EOT start.sh
#!/bin/bash
sleep 25
python manage.py migrate
python init.py
python manage.py runserver 0.0.0.0:8000
EOT
ENV PATH=/home/myuser/.local/bin:${PATH}
CMD ["./start.sh"]
