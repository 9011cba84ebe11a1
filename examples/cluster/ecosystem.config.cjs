// What PM2 is told of the chat.
module.exports = {
  apps: [
    {
      name: 'chat',
      script: `${__dirname}/worker.mjs`,
      exec_mode: 'cluster',
      instances: 4,
      wait_ready: true, // a worker is up when it says so: the old one goes after that
      listen_timeout: 10_000,
      kill_timeout: 15_000, // above what hub.closeOnSignal() may take
    },
  ],
}
