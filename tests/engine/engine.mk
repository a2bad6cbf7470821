# Starts a private Docker Engine if none answers, with the Python package in this folder. The Makefiles of the examples include
# this file if it exists. It also defines three targets.
# -B, because Python runs as root and would leave its cache files in another user's checkout.
ENGINE_PY := cd "$(dir $(lastword $(MAKEFILE_LIST))).." && python3 -B -m engine

# Targets that need no engine, or that handle the private one themselves.
ENGINE_FREE += help new secrets doctor engine-down engine-clean

# `make -n` starts no engine. The first word of MAKEFLAGS contains the one-letter options.
ifeq (,$(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS)))))
ifneq (,$(filter-out $(ENGINE_FREE),$(or $(MAKECMDGOALS),help)))
  # Run the package for a private engine too, because it may lack an image that this folder needs. Nodes get no images.
  # NODES=3 starts a Swarm of three private engines, and uses the first: for 03-docker-compose-django/production/swarm.
  ENGINE_RUN := $(shell case "$$DOCKER_HOST" in (unix:///run/docker-examples-*) false;; \
    (*) docker version;; esac >/dev/null 2>&1 || \
    { $(ENGINE_PY) start $(if $(NODES),--nodes $(NODES)) "$(CURDIR)"; } || echo none)
  ifeq ($(ENGINE_RUN),none)
    $(error no Docker Engine: see the message above)
  else ifneq ($(ENGINE_RUN),)
    export DOCKER_HOST := unix://$(ENGINE_RUN)/docker.sock
    export DOCKER_CONFIG := $(ENGINE_RUN)/config
    export PATH := $(ENGINE_RUN)/bin:$(PATH)
  endif
endif
endif

.PHONY: engine engine-down engine-clean
engine: ## Use the private Docker Engine in a shell: eval "$$(make -s engine)"
	@$(if $(ENGINE_RUN),echo 'export DOCKER_HOST="$(DOCKER_HOST)" DOCKER_CONFIG="$(DOCKER_CONFIG)" PATH="$(ENGINE_RUN)/bin:$$PATH"',\
	  echo "A Docker Engine already answers. There is nothing to do." >&2)

engine-down: ## Stop the private Docker Engine
	@$(ENGINE_PY) stop

engine-clean: ## Stop the private Docker Engine and remove everything that it made
	@$(ENGINE_PY) clean
