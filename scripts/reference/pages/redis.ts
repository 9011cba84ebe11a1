/**
 * # koaws/redis
 *
 * From `koaws/redis`: several instances over Redis, and sending from other processes.
 *
 * @module redis
 */
export * from '../../../lib/adapters/redis/index.ts'
