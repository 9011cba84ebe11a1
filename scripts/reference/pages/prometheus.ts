/**
 * # koaws/prometheus
 *
 * From `koaws/prometheus`: metrics for Prometheus; the guide is [observability](../../guides/observability.md).
 *
 * @module prometheus
 */
export * from '../../../lib/prometheus/index.ts'
