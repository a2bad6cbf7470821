# Where a Docker Engine answers this file does nothing; where none does it starts a private one for the targets below
# (the Python package beside it). Every Makefile of the examples includes it, if it is there; it also brings three targets.
# -B, because as root Python would leave files in somebody else's checkout.
ENGINE_PY := cd "$(dir $(lastword $(MAKEFILE_LIST))).." && python3 -B -m engine

# Targets that need no engine, that deal with the private one themselves, or that use your own Swarm.
ENGINE_FREE += help browse secrets doctor engine-down engine-clean stack-up stack-down stack-ps scale

# Not with `make -n`, which only shows what would run. (The first word of MAKEFLAGS holds the one-letter options.)
ifeq (,$(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS)))))
ifneq (,$(filter-out $(ENGINE_FREE),$(or $(MAKECMDGOALS),help)))
  # A private engine answers too, but may lack an image that this folder needs: the package sees to that (not on the nodes).
  # NODES=3 gives a Swarm of so many private engines, and the first one's name: for 03-docker-compose-django/stack.yaml.
  ENGINE_RUN := $(shell case "$$DOCKER_HOST" in (unix:///run/docker-examples-*) false;; \
    (*) docker version;; esac >/dev/null 2>&1 || $(ENGINE_PY) start $(if $(NODES),--nodes $(NODES)) "$(CURDIR)" || echo none)
  ifeq ($(ENGINE_RUN),none)
    $(error no Docker Engine: the line above says why)
  else ifneq ($(ENGINE_RUN),)
    export DOCKER_HOST := unix://$(ENGINE_RUN)/docker.sock
    export DOCKER_CONFIG := $(ENGINE_RUN)/config
    export PATH := $(ENGINE_RUN)/bin:$(PATH)
  endif
endif
endif

.PHONY: engine engine-down engine-clean
engine: ## Print what gives a shell the private Docker Engine: eval "$$(make -s engine)"
	@$(if $(ENGINE_RUN),echo 'export DOCKER_HOST="$(DOCKER_HOST)" DOCKER_CONFIG="$(DOCKER_CONFIG)" PATH="$(ENGINE_RUN)/bin:$$PATH"',\
	  echo "A Docker Engine answers already: there is nothing to do." >&2)

engine-down: ## Stop the private Docker Engine
	@$(ENGINE_PY) stop

engine-clean: ## Stop the private Docker Engine and remove all that it left
	@$(ENGINE_PY) clean
