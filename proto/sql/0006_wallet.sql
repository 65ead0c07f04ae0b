-- Gifts: what can be bought, who has how many coins, where every coin came from and went to. Ids of users come from tokens: they are compared byte
-- by byte, and no row of `users` is needed.
CREATE TABLE items (
    id       VARCHAR(32) NOT NULL PRIMARY KEY,
    name     VARCHAR(50) NOT NULL,
    price    INT         NOT NULL,
    -- how pages draw it: the name of a drawing that they have, and its colour
    icon     VARCHAR(16) NOT NULL,
    colour   CHAR(7)     NOT NULL,
    position INT         NOT NULL,
    -- 0: not sold any more; the row stays for the purchases that name it
    on_sale  TINYINT     NOT NULL DEFAULT 1,
    CONSTRAINT items_cost_something CHECK (price > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

INSERT INTO items (id, name, price, icon, colour, position) VALUES
    ('sparkler', 'Sparkler', 10, 'sparkler', '#ffd166', 1),
    ('sakura', 'Sakura petals', 50, 'sakura', '#ff9ebb', 2),
    ('wind-chime', 'Wind chime', 100, 'wind-chime', '#7bdff2', 3),
    ('lantern', 'Lantern', 300, 'lantern', '#ff6b4a', 4),
    ('firework', 'Firework', 1000, 'firework', '#b388ff', 5),
    ('grand-finale', 'Grand finale', 5000, 'star', '#ffe066', 6);

-- What a user has. Always the sum of the ledger's entries of the account `user:<id>`, changed in the same transaction.
CREATE TABLE wallets (
    user_id VARCHAR(64) NOT NULL PRIMARY KEY,
    coins   BIGINT      NOT NULL,
    CONSTRAINT wallets_never_negative CHECK (coins >= 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Double entry: the entries of a transaction sum to zero. Accounts: `user:<id>` a wallet, `source:<kind>` where coins come from (a top-up of the
-- local mode, a payment), `revenue:<user id>` a broadcaster's share, `platform` the rest. Only wallets have a balance row: the other accounts are
-- summed when somebody asks, so that a thousand purchases a second for one broadcaster do not queue for one row.
CREATE TABLE ledger_transactions (
    id            BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    kind          ENUM('topup', 'payment', 'purchase') NOT NULL,
    -- what it was for: `purchase:<id>`, `payment:<the provider's id>`, `topup:<id>`; once each
    reference     VARCHAR(160) NOT NULL UNIQUE,
    created_at_ms BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE ledger_entries (
    transaction_id BIGINT      NOT NULL,
    account        VARCHAR(80) NOT NULL,
    coins          BIGINT      NOT NULL,
    PRIMARY KEY (transaction_id, account),
    INDEX ledger_entries_by_account (account, transaction_id),
    CONSTRAINT ledger_entries_move_something CHECK (coins <> 0),
    CONSTRAINT ledger_entries_transaction FOREIGN KEY (transaction_id) REFERENCES ledger_transactions (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE purchases (
    id              VARCHAR(32)  NOT NULL PRIMARY KEY,
    user_id         VARCHAR(64)  NOT NULL,
    user_name       VARCHAR(100) NOT NULL,
    -- the buyer's; the same again is the same purchase
    idempotency_key VARCHAR(64)  NOT NULL,
    item_id         VARCHAR(32)  NOT NULL,
    broadcast_id    VARCHAR(64)  NOT NULL,
    price           INT          NOT NULL,
    message         VARCHAR(500) NULL,
    created_at_ms   BIGINT       NOT NULL,
    UNIQUE KEY purchases_once (user_id, idempotency_key),
    INDEX purchases_by_user (user_id, created_at_ms, id),
    INDEX purchases_by_broadcast (broadcast_id, created_at_ms, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Who gave how much in a broadcast: the sum of the purchases, kept so that the ranking is a read of a few rows.
CREATE TABLE supporters (
    broadcast_id VARCHAR(64)  NOT NULL,
    user_id      VARCHAR(64)  NOT NULL,
    user_name    VARCHAR(100) NOT NULL,
    coins        BIGINT       NOT NULL,
    gifts        INT          NOT NULL,
    PRIMARY KEY (broadcast_id, user_id),
    INDEX supporters_ranking (broadcast_id, coins)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What has to reach somewhere outside of MySQL: written in the transaction that it tells of, deleted when it has arrived. See
-- services/live-api/outbox.h.
CREATE TABLE outbox (
    id            BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- says whose relay takes it: `gift`, …
    kind          VARCHAR(32) NOT NULL,
    -- what it is about: the broadcast of a gift
    subject       VARCHAR(64) NOT NULL,
    payload       MEDIUMTEXT  NOT NULL,
    created_at_ms BIGINT      NOT NULL,
    -- by MySQL's clock: not to be taken before; moved on by whoever takes it
    due_at_ms     BIGINT      NOT NULL,
    -- how often it has been taken; the number is also the fence of who has it
    attempts      INT         NOT NULL DEFAULT 0,
    INDEX outbox_due (kind, due_at_ms, id),
    INDEX outbox_by_subject (kind, subject)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Whatever does not add up, a row each; empty when all is well. Reads everything: for audits, not for requests.
CREATE VIEW ledger_faults AS
    SELECT 'unbalanced_transaction' AS fault, CAST(transaction_id AS CHAR) AS id, SUM(coins) AS off_by
    FROM ledger_entries GROUP BY transaction_id HAVING SUM(coins) <> 0
UNION ALL
    SELECT 'empty_transaction', CAST(t.id AS CHAR), 0 FROM ledger_transactions t
    WHERE NOT EXISTS (SELECT 1 FROM ledger_entries e WHERE e.transaction_id = t.id)
UNION ALL
    SELECT 'wallet_without_its_entries', w.user_id,
           w.coins - (SELECT COALESCE(SUM(e.coins), 0) FROM ledger_entries e WHERE e.account = CONCAT('user:', w.user_id))
    FROM wallets w
    WHERE w.coins <> (SELECT COALESCE(SUM(e.coins), 0) FROM ledger_entries e WHERE e.account = CONCAT('user:', w.user_id))
UNION ALL
    SELECT 'entries_without_wallet', e.account, SUM(e.coins) FROM ledger_entries e
    WHERE e.account LIKE 'user:%' AND NOT EXISTS (SELECT 1 FROM wallets w WHERE e.account = CONCAT('user:', w.user_id))
    GROUP BY e.account
UNION ALL
    SELECT 'purchase_not_paid', p.id, p.price FROM purchases p
    WHERE NOT EXISTS (SELECT 1 FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
                      WHERE t.reference = CONCAT('purchase:', p.id) AND e.account = CONCAT('user:', p.user_id) AND e.coins = -p.price)
UNION ALL
    SELECT 'payment_without_purchase', t.reference, 0 FROM ledger_transactions t
    WHERE t.kind = 'purchase' AND NOT EXISTS (SELECT 1 FROM purchases p WHERE t.reference = CONCAT('purchase:', p.id))
UNION ALL
    SELECT 'supporter_off', CONCAT(s.broadcast_id, '/', s.user_id),
           s.coins - (SELECT COALESCE(SUM(p.price), 0) FROM purchases p WHERE p.broadcast_id = s.broadcast_id AND p.user_id = s.user_id)
    FROM supporters s
    WHERE s.coins <> (SELECT COALESCE(SUM(p.price), 0) FROM purchases p WHERE p.broadcast_id = s.broadcast_id AND p.user_id = s.user_id)
       OR s.gifts <> (SELECT COUNT(*) FROM purchases p WHERE p.broadcast_id = s.broadcast_id AND p.user_id = s.user_id)
UNION ALL
    SELECT 'supporter_missing', p.id, p.price FROM purchases p
    WHERE NOT EXISTS (SELECT 1 FROM supporters s WHERE s.broadcast_id = p.broadcast_id AND s.user_id = p.user_id);
