# The rarer operations, and production; the Makefile includes this file.
LIFECYCLE      ?= dev
POSTGRES_IMAGE ?= postgres:18-trixie
PYTHON_IMAGE   ?= $(shell sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)

.PHONY: data here manage watch check backup restore db-password lock clean stack-up stack-down stack-ps scale always

PASSWORD_FILES := $(addprefix ../secrets/prod/,POSTGRES_PASSWORD DJANGO_SUPERUSER_PASSWORD DJANGO_SECRET_KEY)

# A key's value, as Compose reads secrets.txt: blanks and a byte order mark in front do not count, and the last line wins.
READ_KEY = { sub(/^\357\273\277/, ""); sub(/^[ \t]+/, ""); sub(/\r$$/, "") } \
  index($$0, key "=") == 1 { value = substr($$0, length(key) + 2) }
value_of = LC_ALL=C awk -v key=$(1) '$(READ_KEY) END { print value }' $(SECRETS)

# Empty where POSTGRES_REMOTE_HOST names a database elsewhere.
BACKEND := $(filter backend,$(shell $(call value_of,POSTGRES_REMOTE_HOST) 2>/dev/null))

# For production Compose reads a second file over the first, takes what is no secret from secrets.txt by ${...}, and mounts each
# password as a file of its own. With a database elsewhere the service `backend` is left out.
ifeq ($(LIFECYCLE),prod)
  export COMPOSE_FILE      := docker-compose.yaml:docker-compose.prod.yaml
  export COMPOSE_ENV_FILES := $(SECRETS)
  export COMPOSE_PROFILES  := $(if $(BACKEND),database)
  RECREATE   = $$(test ! -f ../secrets/prod/changed || echo --force-recreate)
  PASSWORDS := $(PASSWORD_FILES)
up run mine: $(PASSWORDS)
endif

# Compose mounts the file with the mode that it has here, and the container's user must read it: so 644, in a folder of 700. A
# running container keeps the file that it was started with: the mark `changed` makes `up` start a new one. In secrets.txt Compose
# reads a few characters in its own way; with those, a password would not be the same in development and here. Compared always,
# because a secrets.txt that is put back is older than these files.
../secrets/prod/%: $(SECRETS) always
	@mkdir -p $(@D) && chmod 700 $(@D) && LC_ALL=C awk -v key=$* '$(READ_KEY) \
	  END { if (value == "") why = "is missing or empty"; \
	    if (match(value, /[ \t$$"\\#`\047]/)) why = "holds the character " substr(value, RSTART, 1) " which is not read alike everywhere"; \
	    if (why == "") print value; else { print "error: " key " " why ": change it in $(SECRETS)" > "/dev/stderr"; exit 1 } }' \
	  $(SECRETS) > $@.new && chmod 644 $@.new || { rm -f $@.new; exit 1; }
	@if cmp -s $@.new $@; then rm $@.new; else touch $(@D)/changed && mv $@.new $@; fi
always:

# Is what lies in the data folder whole, and of this PostgreSQL's major version? Asked in backend's own image, because the files
# belong to its user. A first start that was interrupted leaves none of the databases that somebody made: those are numbered
# from 16384 (only POSTGRES_DB=postgres needs none, and cannot be told). While a first start goes on, PostgreSQL does not answer on the container's address yet: nothing is asked then.
# Until PostgreSQL 18 production had its data in the root of the volume: then it moves, PG_VERSION last, so that an interrupted
# move goes on.
define look_at_data
cd /var/lib/postgresql; if [ -s PG_VERSION ]; then \
  mkdir -p -m 700 "$$PGDATA" && find . -mindepth 1 -maxdepth 1 ! -name PG_VERSION ! -name "$${PGDATA##*/}" ! -name data -exec mv -t "$$PGDATA" {} + && \
  mv PG_VERSION "$$PGDATA" && echo "moved the database to $$PGDATA, in the same volume" || exit; \
fi; \
cd "$$PGDATA" 2>/dev/null && test -n "$$(ls -A)" || exit 0; \
made=$$(cat PG_VERSION 2>/dev/null); \
if [ -n "$$made" ] && [ "$$made" != "$$PG_MAJOR" ]; then \
  echo "error: PostgreSQL $$made made this data, and $$PG_MAJOR cannot read it. To carry it over:" \
    "$(MAKE_IT) up backup POSTGRES_IMAGE=postgres:$$made && $(MAKE_IT) clean up && $(MAKE_IT) restore FILE=backups/..." >&2; exit 1; \
elif [ "$${APP_DB:-$$POSTGRES_DB}" = postgres ]; then :; elif ! ls base 2>/dev/null | grep -qE "^[0-9]{5}" || [ "$$databases" = 0 ]; then \
  echo "error: the data folder is half-made: its first start was interrupted. To remove it: $(MAKE_IT) clean" >&2; exit 1; \
fi
endef
MAKE_IT = make$(if $(filter prod,$(LIFECYCLE)), LIFECYCLE=prod)
data: $(SECRETS) mine
	@$(if $(BACKEND),container=$$(docker compose ps -q --status running backend); \
	if [ -n "$$container" ] && docker exec "$$container" sh -c 'pg_isready -q -h "$$HOSTNAME"' 2>/dev/null; then \
	  docker exec "$$container" sh -c 'databases=$$(psql -U "$$POSTGRES_USER" -d postgres -Atc \
	    "select count(*) from pg_database where oid >= 16384" 2>/dev/null); $(look_at_data)'; \
	elif [ -z "$$container" ] || [ "$$(docker container inspect -f '{{.RestartCount}}' "$$container")" != 0 ]; then \
	  docker compose --progress quiet run --rm --no-deps -T --entrypoint sh backend -c '$(look_at_data)'; \
	fi)

# Run on your files, not on the image's copy, and as you: so what it writes is there, and yours.
manage: $(SECRETS) mine ## Run manage.py: make manage ARGS="startapp blog"
	@$(if $(BACKEND),docker compose up -d --wait $(BACKEND))
	docker compose run --rm $$(test -t 0 || echo -T) --user "$$(id -u):$$(id -g)" -e PYTHONDONTWRITEBYTECODE=1 \
	  -v "$(CURDIR)/codesolid_demo:/app" frontend python manage.py $(ARGS)

watch: $(SECRETS) mine ## Start, and show every edit of the code in the running container
	docker compose up -d --build --wait && docker compose watch

# In a project of its own, which is gone afterwards.
check: ## Run Django's tests in production's image, against a PostgreSQL of their own
	@compose="docker compose -p check-$$$$ -f docker-compose.check.yaml"; trap 'exit 130' INT TERM; \
	trap "$$compose --progress quiet down --rmi local --volumes" EXIT; \
	$$compose run --rm --build $$(test -t 0 || echo -T) tests

here: $(SECRETS)
	@test -n "$(BACKEND)" || { echo "error: POSTGRES_REMOTE_HOST in $(SECRETS) is not backend, so the database is elsewhere: do this there" >&2; exit 1; }

# Development's superuser is POSTGRES_USER; production's is postgres, and the application's user and database are in APP_*.
backup: here mine ## Write the database into a file in backups/
	@mkdir -p backups && chmod 700 backups && umask 077 && file=backups/$$(date +%Y-%m-%d-%H%M%S).dump && \
	{ docker compose exec -T backend sh -c 'pg_dump -Fc --no-owner -U "$$POSTGRES_USER" "$${APP_DB:-$$POSTGRES_DB}"' > "$$file.new" \
	  && mv "$$file.new" "$$file" && echo "made $$file"; } || { rm -f "$$file.new"; exit 1; }

# Into a new database, which takes the old one's name when all of it is there: where that fails, the old one stays.
restore: here mine ## Take the database from a file, the web server stopped: make restore FILE=backups/...
	@test -f "$(FILE)" || { echo "error: FILE=$(FILE) is not there: make restore FILE=backups/..." >&2; exit 1; }
	docker compose stop frontend
	@docker compose exec -T backend sh -ec 'db="$${APP_DB:-$$POSTGRES_DB}" owner="$${APP_USER:-$$POSTGRES_USER}"; \
	  export PGUSER="$$POSTGRES_USER" PGDATABASE=postgres; \
	  dropdb --if-exists "$$db-new"; createdb -O "$$owner" "$$db-new"; \
	  pg_restore --no-owner --role "$$owner" --single-transaction -d "$$db-new"; \
	  dropdb --force "$$db"; psql -qc "ALTER DATABASE \"$$db-new\" RENAME TO \"$$db\""' < "$(FILE)"; \
	status=$$?; docker compose start frontend; exit $$status

# PostgreSQL takes the password from secrets.txt at its first start only. Over the socket inside it asks for none, so the new
# one can be set there; the web server then starts anew with it.
db-password: here mine ## Give the database's user the password that secrets.txt has now
	docker compose up -d --force-recreate --wait backend
	@docker compose exec -T backend sh -c 'psql -q -v ON_ERROR_STOP=1 -U "$$POSTGRES_USER" -d postgres' < password.sql
	docker compose up -d --build --force-recreate --no-deps --wait frontend

# In a container, so that you need no Python; through stdin and stdout, so that the files are yours and not root's. Production
# gets the versions of requirements.txt, and what it needs besides.
LOCK = docker run --rm -i -e UV_NATIVE_TLS=1 -e UV_CUSTOM_COMPILE_COMMAND="make lock" "$(PYTHON_IMAGE)" sh -c \
  'pip install --quiet --root-user-action=ignore uv==0.13.9 && uv pip compile --quiet --generate-hashes -'
lock: ## Renew requirements.txt and requirements-prod.txt: the newest versions, with hashes
	@$(LOCK) < requirements.in > dev.new && cat dev.new requirements-prod.in | $(LOCK) > prod.new \
	  && mv dev.new requirements.txt && mv prod.new requirements-prod.txt || { rm -f dev.new prod.new; exit 1; }

# The files in data/ belong to PostgreSQL's user (999): a container removes them, so that you need no sudo. Production's are in
# a volume: it is asked for before that goes.
clean: $(SECRETS) mine ## Remove this example's containers, image, network and DATA, and nothing else
	@test "$(LIFECYCLE)" != prod || { printf 'Remove the production database? Type yes: ' && read -r answer && [ "$$answer" = yes ]; }
	docker compose down --rmi local --volumes --remove-orphans
	@image=$$(docker compose config --images | grep ':prod$$') && docker image rm "$$image" 2>/dev/null || true
	@test "$(LIFECYCLE)" = prod || test ! -d data || docker run --rm -v "$(CURDIR):/folder" "$(POSTGRES_IMAGE)" rm -rf /folder/data

# On Docker Swarm, by stack.yaml. `docker stack` reads no file of variables: what is no secret comes by the environment. A changed
# password has another VERSION: so it is an update like a new image. The replicas stay as many as they are. `docker stack deploy`
# waits (Docker 26 or later), but also ends well where Swarm took the update back: so that is asked. --prune removes the services
# that no longer stand in the files; --with-registry-auth lets the nodes pull with your `docker login`.
STACK       ?= django
IMAGE       ?=
STACK_FILES ?= stack.yaml
STACK_KEYS  := DJANGO_ALLOWED_HOSTS DJANGO_HTTPS DJANGO_SUPERUSER DJANGO_SUPERUSER_EMAIL \
               POSTGRES_DB POSTGRES_USER POSTGRES_REMOTE_HOST POSTGRES_PORT POSTGRES_SSLMODE
stack-up: $(PASSWORD_FILES) ## Deploy to the Swarm, or update without a pause: make stack-up IMAGE=...
	@test -n "$(IMAGE)" || { echo "error: IMAGE is empty: name an image that every node can get: make stack-up IMAGE=..." >&2; exit 1; }
	@test -z "$(BACKEND)" || \
	  { echo "error: POSTGRES_REMOTE_HOST=backend is not in the Swarm: name your database's host in $(SECRETS)" >&2; exit 1; }
	@test "$$(docker info -f '{{.Swarm.ControlAvailable}}')" = true || \
	  { echo "error: this engine is no manager of a Swarm: docker swarm init (or choose another by DOCKER_HOST)" >&2; exit 1; }
	@for key in $(STACK_KEYS); do export "$$key=$$($(call value_of,$$key))"; done; \
	export IMAGE="$(IMAGE)" STACK="$(STACK)" PORT="$(PORT)" VERSION="$$(cat $(PASSWORD_FILES) | cksum | cut -d ' ' -f 1)"; \
	there=$$(docker service ls -q -f name=$(STACK)_frontend) && REPLICAS=$$(test -z "$$there" && echo 2 || \
	  docker service inspect -f '{{.Spec.Mode.Replicated.Replicas}}' $(STACK)_frontend) || exit 1; export REPLICAS; \
	echo "Ctrl-C only ends the waiting. What the replicas say: docker service logs $(STACK)_frontend"; \
	docker stack deploy --detach=false $$(test -t 1 || echo --quiet) --prune --with-registry-auth $(addprefix -c ,$(STACK_FILES)) $(STACK)
	@state=$$(docker service inspect -f '{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}' $(STACK)_frontend); case "$$state" in \
	  rollback_completed) end="so the old one is back";; rollback*|paused) end="and Swarm says $$state";; *) exit 0;; esac; \
	echo "error: $(IMAGE) did not become healthy, $$end. To see why: docker service logs $(STACK)_frontend" >&2; exit 1

# Not by --detach=false: after a node's death that waits for ever for what ran there, though all is gone.
stack-down: ## Remove the stack from the Swarm, and wait until it is gone
	docker stack rm $(STACK)
	@for second in $$(seq 60); do test -n "$$(docker network ls -q --filter label=com.docker.stack.namespace=$(STACK))" || exit 0; \
	  sleep 1; done; echo "error: the stack $(STACK) is not gone after 60 s. To see what is left: make stack-ps" >&2; exit 1

stack-ps: ## List the stack's replicas, and the nodes that they are on
	docker stack ps $(STACK)

scale: ## Change the number of replicas: make scale N=4
	@test -n "$(N)" || { echo "error: N is empty: make scale N=4" >&2; exit 1; }
	docker service scale $(STACK)_frontend=$(N)
