# The rarer operations, and production; the Makefile includes this file.
LIFECYCLE      ?= dev
POSTGRES_IMAGE ?= postgres:17-trixie
PYTHON_IMAGE   ?= $(shell sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)

.PHONY: manage lock clean

# For production Compose reads a second file over the first, takes what is no secret from secrets.txt by ${...}, and mounts each
# password as a file of its own. An external database (POSTGRES_REMOTE_HOST) leaves the service `backend` out.
ifeq ($(LIFECYCLE),prod)
  export COMPOSE_FILE      := docker-compose.yaml:docker-compose.prod.yaml
  export COMPOSE_ENV_FILES := $(SECRETS)
  export COMPOSE_PROFILES  := $(shell grep -q '^POSTGRES_REMOTE_HOST=backend$$' $(SECRETS) 2>/dev/null && echo database)
  PASSWORDS := $(addprefix ../secrets/prod/,POSTGRES_PASSWORD DJANGO_SUPERUSER_PASSWORD DJANGO_SECRET_KEY)
up run mine: $(PASSWORDS)
endif

# Compose mounts the file with the mode that it has here, and the container's user must read it: so 644, in a folder of 700.
../secrets/prod/%: $(SECRETS)
	@mkdir -p $(@D) && chmod 700 $(@D) && sed -n 's/^$*=//p' $(SECRETS) | tail -n 1 > $@.new && chmod 644 $@.new && mv $@.new $@

# Run on your files, not on the image's copy, and as you: so what it writes is there, and yours.
manage: $(SECRETS) mine ## Run manage.py: make manage ARGS="startapp blog"
	docker compose run --rm $$(test -t 0 || echo -T) --user "$$(id -u):$$(id -g)" -e PYTHONDONTWRITEBYTECODE=1 \
	  -v "$(CURDIR)/codesolid_demo:/app" frontend python manage.py $(ARGS)

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
	@test "$(LIFECYCLE)" = prod || test ! -d data || docker run --rm -v "$(CURDIR):/folder" "$(POSTGRES_IMAGE)" rm -rf /folder/data
