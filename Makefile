# Everything runs on the Node that package.json pins: npm scripts find it in node_modules/.bin first.
RUN := npm run --silent
INSTALLED := node_modules/.package-lock.json

.PHONY: help demo demo-vault demo-browser test test-faults ci proto proto-check proto-release fmt lint typecheck migrate run-api run-worker bench docs config-check dev-token

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(INSTALLED): package.json package-lock.json
	@npm ci --loglevel=error --no-audit --no-fund
	@touch $(INSTALLED)

demo: $(INSTALLED) ## run the main job against local stand-ins, step by step
	@$(RUN) demo

demo-vault: $(INSTALLED) ## a database user of Vault's for one grant, step by step, on a Postgres of its own
	@$(RUN) demo:vault

demo-browser: $(INSTALLED) ## a login form that a headless Chromium fills through a relay, once, step by step
	@sh .ci/tools chromium
	@$(RUN) demo:browser

test: $(INSTALLED) ## run every test
	@sh .ci/tools
	@$(RUN) test

test-faults: $(INSTALLED) ## kill processes, stop servers and cut connections under load, and print what was lost
	@sh .ci/tools
	@$(RUN) test:faults

ci: ## what a change must pass: a clean install, lint, types, contract, tests, faults in short, benchmarks in smoke mode
	@rm -f .ci/results*.json
	@sh .ci/tools
	@npm ci --loglevel=error --no-audit --no-fund
	@$(RUN) lint
	@$(RUN) typecheck
	@$(RUN) proto-check
	@status=0; \
	{ $(RUN) test:ci && \
	  ASB_FAULTS=short $(RUN) test:faults -- --reporter=default --reporter=json --outputFile.json=.ci/results-faults.json && \
	  $(RUN) bench -- --smoke; } || status=$$?; \
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

migrate: $(INSTALLED) ## bring the database of ASB_POSTGRES_DSN up to date, or: make migrate ARGS=status
	@$(RUN) migrate -- $(or $(ARGS),up)

run-api: $(INSTALLED) ## start the API from the environment (docs/configuration.md)
	@$(RUN) api

run-worker: $(INSTALLED) ## start the cleanup worker from the environment: make run-worker ARGS="--interval 10s"
	@$(RUN) worker -- $(ARGS)

bench: $(INSTALLED) ## measure throughput and memory beside a floor server
	@$(RUN) bench

config-check: $(INSTALLED) ## check the configuration file that FILE, or ASB_CONFIG_FILE, names
	@$(RUN) config -- check $(FILE)

dev-token: $(INSTALLED) ## print a token of a development operator: make dev-token ROLE=approver
	@$(RUN) dev-token

docs: $(INSTALLED) ## write docs/configuration.md and the JSON Schema of the configuration file
	@$(RUN) docs
