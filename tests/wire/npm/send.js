// Sends one message with nodemailer; the job is JSON on standard input.
'use strict';
const fs = require('fs');
const nodemailer = require('nodemailer');

const job = JSON.parse(fs.readFileSync(0, 'utf8'));
const transport = nodemailer.createTransport({
    host: 'localhost',
    port: job.port,
    secure: job.tls === 'implicit',
    ignoreTLS: job.tls === 'off',
    requireTLS: job.tls === 'starttls',
    tls: { ca: [fs.readFileSync(job.ca)] },
    auth: job.login ? { user: job.login[0], pass: job.login[1] } : undefined,
});
transport.sendMail({
    envelope: { from: job.from, to: job.to },
    raw: Buffer.from(job.content, 'latin1'),
}).then(info => {
    transport.close();
    if (info.rejected && info.rejected.length) {
        throw new Error('rejected: ' + info.rejected.join(' '));
    }
}).catch(error => {
    console.error(error);
    process.exit(1);
});
