// A server that reads its password from a file when it starts, as in production.
const fs = require('fs');
const http = require('http');
const path = require('path');

const password = fs.readFileSync(path.join(process.env.SECRETBOOT_DIR, 'db/password'), 'utf8');
const server = http.createServer((_, response) => response.end('shop\n'));
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
  console.log(`listening as ${process.env.DB_USER}, whose password has ${password.length} characters`);
});
process.on('SIGTERM', () => server.close());
process.on('SIGINT', () => server.close());
