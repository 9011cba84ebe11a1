/**
 * # koaws/otel
 *
 * From `koaws/otel`: metrics and traces for OpenTelemetry; the guide is [observability](../../guides/observability.md).
 *
 * @module otel
 */
export * from '../../../lib/otel/index.ts'
