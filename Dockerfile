# One image for every process: API, worker, migrate, audit. Node runs the TypeScript sources as they are (docs/decisions/0001), so
# it is production dependencies, src/ and migrations/.
FROM node:24-slim AS dependencies
WORKDIR /asb
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-slim
LABEL org.opencontainers.image.title="asb" \
      org.opencontainers.image.description="An agents-first secret broker: API, worker, migrate and audit" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing is installed once this runs, so what installs goes.
RUN rm -rf /opt/yarn-* /usr/local/lib/node_modules \
      /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /usr/local/bin/yarn /usr/local/bin/yarnpkg
ENV NODE_ENV=production NODE_COMPILE_CACHE=/tmp/asb
WORKDIR /asb
COPY --from=dependencies /asb/node_modules node_modules
COPY package.json ./
COPY migrations migrations
COPY src src
# The user that the image calls node. Kubernetes checks runAsNonRoot by number.
USER 1000:1000
EXPOSE 8080 9090
# For the API without TLS on its usual port; a worker, or an API elsewhere, needs one of its own (docker-compose.yml).
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--heap-growing-percent=30", "--max-semi-space-size=4", "src/main/api.ts"]
