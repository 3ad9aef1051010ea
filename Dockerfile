# One image for the API and the workers: docker-compose.yml chooses by the command.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY nest-cli.json tsconfig.json tsconfig.build.json ./
COPY libs libs
COPY apps apps
RUN npm run build

FROM node:24-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json ./
# No package needs its install script: those with native code bring their binaries along.
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force
COPY --from=build /app/dist/libs dist/libs
COPY --from=build /app/dist/apps dist/apps
EXPOSE 8080
USER node
CMD ["node", "dist/apps/api/main.js"]
