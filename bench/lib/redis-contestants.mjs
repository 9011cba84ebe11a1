/**
 * Libraries that connect instances through Redis: the program of an instance, and the protocol of
 * its members.
 */
export const redisContestants = {
  koaws: { file: '../servers/redis-koaws.mjs', kind: 'ws' },
  'redis-adapter': {
    file: '../servers/redis-socket.io.mjs',
    form: 'pubsub',
    kind: 'socket.io',
  },
  'redis-streams-adapter': {
    file: '../servers/redis-socket.io.mjs',
    form: 'streams',
    kind: 'socket.io',
  },
}
