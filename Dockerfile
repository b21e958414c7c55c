# The image: our binary, a list of certificate authorities, and the licences of what is
# linked, in nothing else.
#
#   docker build -t secretboot .
#   docker buildx build --platform linux/amd64,linux/arm64 -t secretboot .
#
# The binary is the same, byte for byte, as that of `make cross` in a clone of the
# same commit with the same Go release.

# Where the compiler comes from: any image with Go, make and a list of authorities.
ARG BUILDER=golang:1.26-bookworm
# Another image with both files in /out stands for the stage that builds them, as where
# no registry can be reached: --build-arg FILES=IMAGE. Needs BuildKit.
ARG FILES=build

FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETARCH
RUN make bin/linux-$TARGETARCH/secretboot && mkdir /out && \
    cp bin/linux-$TARGETARCH/secretboot /etc/ssl/certs/ca-certificates.crt /out/

FROM ${FILES} AS files

FROM scratch
# What nobody gives is "unknown" and not a guess. There is no time of the build: it
# would make two builds of one commit differ.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="secretboot" \
      org.opencontainers.image.description="Brings secrets from HashiCorp Vault or OpenBao to a process and takes them away again" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/secretboot/secretboot" \
      org.opencontainers.image.documentation="https://github.com/secretboot/secretboot/blob/main/docs/docker.md" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=files /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=files /out/secretboot /usr/local/bin/secretboot
COPY LICENSE THIRD_PARTY_LICENSES /usr/share/doc/secretboot/
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/usr/local/bin/secretboot", "ready"]
ENTRYPOINT ["/usr/local/bin/secretboot"]
