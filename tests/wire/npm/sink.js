// An upstream: smtp-server with STARTTLS and AUTH, every content in a file, its envelope beside it.
'use strict';
const fs = require('fs');
const path = require('path');
const { SMTPServer } = require('smtp-server');

const [cert, key, out] = process.argv.slice(2);
let number = 0;
const server = new SMTPServer({
    cert: fs.readFileSync(cert),
    key: fs.readFileSync(key),
    authMethods: ['LOGIN', 'PLAIN'],
    onAuth: (auth, session, done) =>
        auth.username === 'relay@contoso.com' && auth.password === 'hunter2-upstream'
            ? done(null, { user: auth.username }) : done(new Error('Invalid login')),
    onData: (stream, session, done) => {
        const parts = [];
        stream.on('data', part => parts.push(part));
        stream.on('end', () => {
            const base = path.join(out, String(++number));
            const envelope = {
                from: session.envelope.mailFrom.address,
                to: session.envelope.rcptTo.map(r => r.address),
                user: session.user,
                secure: session.secure,
            };
            fs.writeFileSync(base + '.json', JSON.stringify(envelope));
            fs.writeFileSync(base + '.new', Buffer.concat(parts));
            fs.renameSync(base + '.new', base + '.eml');
            done();
        });
    },
});
server.on('error', error => console.error(error));
server.listen(0, '127.0.0.1', () => console.log('listening on ' + server.server.address().port));
