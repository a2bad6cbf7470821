# The rarer operations; the Makefile includes this file.
POSTGRES_IMAGE ?= postgres:17-trixie
PYTHON_IMAGE   ?= $(shell sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)

.PHONY: manage lock clean

# Run on your files, not on the image's copy, and as you: so what it writes is there, and yours.
manage: $(SECRETS) mine ## Run manage.py: make manage ARGS="startapp blog"
	docker compose run --rm $$(test -t 0 || echo -T) --user "$$(id -u):$$(id -g)" -e PYTHONDONTWRITEBYTECODE=1 \
	  -v "$(CURDIR)/codesolid_demo:/app" frontend python manage.py $(ARGS)

# In a container, so that you need no Python; through stdin and stdout, so that the file is yours and not root's.
lock: ## Renew requirements.txt: the newest versions, with hashes
	@docker run --rm -i -e UV_NATIVE_TLS=1 -e UV_CUSTOM_COMPILE_COMMAND="make lock" "$(PYTHON_IMAGE)" sh -c \
	  'pip install --quiet --root-user-action=ignore uv==0.13.9 && uv pip compile --quiet --generate-hashes -' \
	  < requirements.in > requirements.new && mv requirements.new requirements.txt || { rm -f requirements.new; exit 1; }

# The files in data/ belong to PostgreSQL's user (999): a container removes them, so that you need no sudo.
clean: $(SECRETS) mine ## Remove this example's containers, image, network and DATA, and nothing else
	docker compose down --rmi local --volumes --remove-orphans
	@test ! -d data || docker run --rm -v "$(CURDIR):/folder" "$(POSTGRES_IMAGE)" rm -rf /folder/data
