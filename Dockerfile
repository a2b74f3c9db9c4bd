# Node runs the TypeScript sources as they are (docs/decisions/0001): the image is production dependencies and src/.
FROM node:24-slim AS dependencies
WORKDIR /asb
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production NODE_COMPILE_CACHE=/tmp/asb
WORKDIR /asb
COPY --from=dependencies /asb/node_modules node_modules
COPY package.json ./
COPY src src
USER node
EXPOSE 8080
CMD ["node", "--heap-growing-percent=50", "--max-semi-space-size=8", "src/main/api.ts"]
