# Everything runs on the Node that package.json pins: npm scripts find it in node_modules/.bin first.
RUN := npm run --silent
INSTALLED := node_modules/.package-lock.json

.PHONY: help demo test ci proto proto-check proto-release fmt lint typecheck migrate run-api run-worker bench docs config-check dev-token

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(INSTALLED): package.json package-lock.json
	@npm ci --loglevel=error --no-audit --no-fund
	@touch $(INSTALLED)

demo: $(INSTALLED) ## run the main job against local stand-ins, step by step
	@$(RUN) demo

test: $(INSTALLED) ## run every test
	@sh .ci/tools
	@$(RUN) test

ci: ## what a change must pass: a clean install, lint, types, contract, tests, benchmarks in smoke mode
	@rm -f .ci/results.json
	@sh .ci/tools
	@npm ci --loglevel=error --no-audit --no-fund
	@$(RUN) lint
	@$(RUN) typecheck
	@$(RUN) proto-check
	@status=0; \
	{ $(RUN) test:ci && $(RUN) bench -- --smoke; } || status=$$?; \
	node .ci/summary.js || status=1; exit $$status

proto: $(INSTALLED) ## generate src/gen from proto/
	@$(RUN) proto

proto-check: $(INSTALLED) ## lint the contract, check it stays compatible and src/gen is current
	@$(RUN) proto-check

proto-release: $(INSTALLED) ## make today's contract the one that later changes must stay compatible with
	@sh .ci/proto release

fmt: $(INSTALLED) ## format
	@$(RUN) fmt

lint: $(INSTALLED) ## style, rules of import, formatting
	@$(RUN) lint

typecheck: $(INSTALLED) ## type check
	@$(RUN) typecheck

migrate: ## (not in this version) bring a Postgres database up to date
	@echo "migrate: this version has no Postgres store, so there is nothing to migrate" >&2; exit 1

run-api: $(INSTALLED) ## start the API from the environment (docs/configuration.md)
	@$(RUN) api

run-worker: ## (not in this version) start the cleanup worker
	@echo "run-worker: this version keeps its state in the API process, which cleans up after itself" >&2; exit 1

bench: $(INSTALLED) ## measure throughput and memory beside a floor server
	@$(RUN) bench

config-check: $(INSTALLED) ## check the configuration file that FILE, or ASB_CONFIG_FILE, names
	@$(RUN) config -- check $(FILE)

dev-token: $(INSTALLED) ## print a token of a development operator: make dev-token ROLE=approver
	@$(RUN) dev-token

docs: $(INSTALLED) ## write docs/configuration.md and the JSON Schema of the configuration file
	@$(RUN) docs
