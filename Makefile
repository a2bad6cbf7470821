# The three examples side by side, and their tests. Override a variable like this: make up DJANGO_PORT=8090
FLASK_PORT   ?= 8081
ALPINE_PORT  ?= 8082
DJANGO_PORT  ?= 8083
# PostgreSQL's own port, 5432, is often taken, so here it stands beside the three. In the Django folder it is 5432.
DB_PORT      ?= 8084
# For a second clone (never twice in one): the names of its containers and images end in this.
SUFFIX       ?=
# From a mirror of Docker Hub, PYTHON_IMAGE and POSTGRES_IMAGE are given as in the folders; Alpine's Python under this name.
ALPINE_IMAGE ?= $(shell sed -n 's/^ARG PYTHON_IMAGE=//p' 02-docker-flask-alpine/Dockerfile)

flask  := $(MAKE) -C 01-docker-flask CONTAINER=flask$(SUFFIX) PORT=$(FLASK_PORT) \
          IMAGE=flask-example$(SUFFIX):latest
alpine := $(MAKE) -C 02-docker-flask-alpine CONTAINER=flask-alpine$(SUFFIX) PORT=$(ALPINE_PORT) \
          IMAGE=flask-example$(SUFFIX):alpine PYTHON_IMAGE=$(ALPINE_IMAGE)
django := $(MAKE) -C 03-docker-compose-django DJANGO_NAME=django$(SUFFIX) PORT=$(DJANGO_PORT) DB_PORT=$(DB_PORT) \
          COMPOSE_PROJECT_NAME=03-docker-compose-django$(SUFFIX)

# Brings a Docker Engine where none answers; and the targets engine, engine-down, engine-clean. `up` leaves that to each folder,
# so that Flask answers while the images of the others are still to be made.
ENGINE_FREE := up
include tests/engine/engine.mk

.DEFAULT_GOAL := help
.PHONY: help up down ps clean secrets doctor test test-faults test-oldest test-swarm soak bench pictures lint

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {gsub(/\$$\$$/, "$$", $$2); printf "  make %-12s %s\n", $$1, $$2}' Makefile tests/engine/engine.mk

up: secrets ## Build and start the three examples; Flask answers first, Flask on Alpine last
	$(flask) run
	$(django) up
	@echo
	@echo "Flask and Django answer. Flask on Alpine is next: compiling its base image can take two minutes."
	$(alpine) run
	@echo
	@echo "  Flask            http://localhost:$(FLASK_PORT)"
	@echo "  Flask on Alpine  http://localhost:$(ALPINE_PORT)"
	@echo "  Django           http://localhost:$(DJANGO_PORT)"
	@echo "  Django's admin   http://localhost:$(DJANGO_PORT)/admin"
	@echo "  Log in with DJANGO_SUPERUSER and DJANGO_SUPERUSER_PASSWORD from secrets/secrets.txt."

down: ## Stop the three examples; Django's data stays
	-$(flask) kill
	-$(alpine) kill
	-$(django) down

ps: ## List the containers of the three examples
	docker ps --all --filter name='^flask$(SUFFIX)$$' --filter name='^flask-alpine$(SUFFIX)$$' \
	  --filter name='^django$(SUFFIX)$$' --filter name='^03-docker-compose-django$(SUFFIX)-'

clean: down ## Remove the containers, images, network and DATA of the three examples; secrets/ stays
	-docker image rm flask-example$(SUFFIX):latest flask-example$(SUFFIX):latest-production \
	  flask-example$(SUFFIX):alpine flask-example$(SUFFIX):alpine-production
	-$(django) clean
	rm -rf .venv

secrets: secrets/secrets.txt ## Make secrets/secrets.txt with random passwords, unless it is there
	@echo "secrets/secrets.txt is there."

# Only its owner may read it. The passwords go from /dev/urandom through a pipe into the file: no command line shows them. A
# password of your own comes by the environment: POSTGRES_PASSWORD, DJANGO_SUPERUSER_PASSWORD, DJANGO_SECRET_KEY. Compose and
# `docker run --env-file` read some characters in different ways, so those are refused.
secrets/secrets.txt:
	@mkdir -p secrets && chmod 700 secrets && umask 077 && LC_ALL=C awk -F = '\
	  /^[^#]*=change-me$$/ { word = ENVIRON[$$1]; \
	    if (word == "") { random = "tr -dc A-Za-z0-9 </dev/urandom | head -c 50"; random | getline word; close(random) } \
	    else print "  " $$1 " is the one of your environment" > "/dev/stderr"; \
	    if (match(word, /[^!-~]|[$$"\\#`\047]/)) { odd = substr(word, RSTART, 1); \
	      print "error: " $$1 " holds " (odd == " " ? "a space" : odd ~ /[!-~]/ ? "the character " odd : \
	        "a character outside of printable ASCII") ", which is not read alike everywhere: choose another" > "/dev/stderr"; \
	      exit 1 } \
	    $$0 = $$1 "=" word } \
	  { print }' secrets.example > $@.new && mv $@.new $@ && echo "made $@, with random passwords" || { rm -f $@.new; exit 1; }

doctor: ## Say what is missing or in the way: docker, an engine, Compose, ports, secrets
	@sh tests/doctor.sh $(FLASK_PORT) $(ALPINE_PORT) $(DJANGO_PORT) $(DB_PORT)

test: .venv/pytest ## Run the tests: real containers, some minutes
	.venv/bin/pytest tests -m "not slow and not alone" -n 4 --dist loadgroup $(ARGS)
	.venv/bin/pytest tests -m "not slow and alone" $(ARGS)

test-faults: .venv/pytest ## Run all fault tests: processes killed, the database away or full, the engine stopped
	.venv/bin/pytest tests/faults $(ARGS)

test-oldest: .venv/pytest ## Run the tests of the three folders on the oldest Docker that the README promises
	sh tests/oldest.sh $(ARGS)

test-swarm: .venv/pytest ## Three private engines as a Swarm: updates, scaling and a node's death under load
	.venv/bin/pytest tests/swarm $(ARGS)

soak: .venv/pytest ## Ten minutes of load with kills at random: nothing acknowledged may be lost (ARGS=MINUTES)
	.venv/bin/python tests/faults/soak.py $(ARGS)

bench: .venv/bench ## Measure the examples beside the tutorial's way and gunicorn: eleven minutes
	.venv/bin/python tests/bench/bench.py $(ARGS)

# The numbers are kept beside the chart, so that both can be checked. `make up` is shown with the names that it has by default.
pictures: .venv/pytest ## Make the pictures of .github/images anew; the chart is of the last `make bench`
	@test ! -f tests/bench/results.json || cp tests/bench/results.json .github/images/bench.json
	@test -f .github/images/bench.json || { echo "error: there are no numbers for the chart: make bench" >&2; exit 1; }
	@test -z "$$(docker ps -aq --filter 'name=^/?(flask|flask-alpine|django|03-docker-compose-django-.*)$$')" \
	  || { echo "error: the examples' names and ports are in use: make down" >&2; exit 1; }
	PICTURES="$(CURDIR)/.github/images" .venv/bin/pytest tests/test_pictures.py $(ARGS)

# checkov's own script cannot start in a checkout whose path has a space.
lint: .venv/lint secrets ## Check the style of every file
	.venv/bin/hadolint --config tests/hadolint.yaml */Dockerfile */production.Dockerfile tests/pictures/Dockerfile tests/engine/images/*/Dockerfile
	.venv/bin/python -m checkov.main --config-file tests/checkov.yaml
	.venv/bin/python -m checkov.main --config-file tests/checkov-tests.yaml
	.venv/bin/zizmor --offline --quiet --persona=auditor .github
	.venv/bin/shellcheck */*.sh tests/*.sh tests/engine/images/*/*.sh
	.venv/bin/ruff check --config tests/ruff.toml . && .venv/bin/ruff format --config tests/ruff.toml --check .
	.venv/bin/yamllint -c tests/yamllint.yaml --strict .
	@cd 03-docker-compose-django && docker compose config -q
	@cd 03-docker-compose-django && docker compose --env-file ../secrets/secrets.txt \
	  -f docker-compose.yaml -f docker-compose.prod.yaml --profile database config -q

# The file is a mark: it says with which requirements the environment was made.
.venv/pytest .venv/bench .venv/lint: .venv/%: tests/%-requirements.txt
	@test -x .venv/bin/python || python3 -m venv .venv || { rm -rf .venv; \
	  echo "error: python3 -m venv failed. On Debian: apt-get install python3-venv" >&2; exit 1; }
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
