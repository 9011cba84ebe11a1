/** Returns the configuration of nginx. All its files are in one folder. See docs/guides/behind-nginx.md. */
export function nginxConf({ folder, port, instances }) {
  const servers = instances.map((instance) => `server 127.0.0.1:${instance};`)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  )
  return `
    daemon off;
    pid ${folder}/nginx.pid;
    error_log stderr;
    events {}

    http {
      access_log off;
      ${temporary.join('\n      ')}

      map $http_upgrade $connection_upgrade {
        default upgrade;
        ''      '';
      }

      upstream koa {
        least_conn; # a WebSocket counts for as long as it is open
        ${servers.join('\n        ')}
        keepalive 32;
      }

      server {
        listen 127.0.0.1:${port};

        location / {
          proxy_pass http://koa;
          proxy_http_version 1.1;

          proxy_set_header Upgrade    $http_upgrade;
          proxy_set_header Connection $connection_upgrade;

          proxy_set_header Host              $http_host;
          proxy_set_header X-Forwarded-Host  $http_host;
          proxy_set_header X-Forwarded-For   $remote_addr;
          proxy_set_header X-Forwarded-Proto $scheme;

          proxy_read_timeout 1h;
        }
      }
    }
  `
}
