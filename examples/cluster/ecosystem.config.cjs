// The PM2 configuration of the chat.
module.exports = {
  apps: [
    {
      name: 'chat',
      script: `${__dirname}/worker.mjs`,
      exec_mode: 'cluster',
      instances: 4,
      wait_ready: true, // PM2 waits for the message 'ready' of the new worker before it stops the old one
      listen_timeout: 10_000,
      kill_timeout: 15_000, // above the time that hub.closeOnSignal() may take
    },
  ],
}
