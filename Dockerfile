# chat: one program, with the page in it. `docker compose build` needs nothing but Docker.

FROM node:24-bookworm-slim AS page
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-progress
COPY web ./
RUN npm run build

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
COPY --from=page /src/web/dist web/dist
# Both caches stay on the machine that builds, so that a change compiles only what it touches.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=natsfn-target,target=/src/target,sharing=locked \
    cargo build --release --locked --package chat --bin chat \
 && install target/release/chat /usr/local/bin/chat

FROM debian:bookworm-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="chat" \
      org.opencontainers.image.description="A chat on NATS whose functions are made with natsfn" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# The owners of these are those of a fresh volume that is mounted there.
RUN install --directory --owner=10001 --group=10001 /keys /jetstream
# With these certificates `auth` trusts a provider of identities.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/chat /usr/local/bin/chat
USER 10001:10001
ENTRYPOINT ["chat"]
