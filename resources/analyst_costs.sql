-- What accepted messages cost, counted once at publishing. Days as in `analyst_funnels.sql`, whose table `days` has every
-- quarter of an hour in which anything was accepted.

INSERT INTO costs BY NAME
WITH accepted AS (
    SELECT
        campaign,
        epoch_us(coalesce(accepted_at, sent_at, delivered_at, read_at)) // 900000000 AS quarter,
        market,
        category,
        currency,
        price_source,
        count(*) AS messages,
        sum(price) AS price
    FROM messages
    WHERE accepted_at IS NOT NULL OR sent_at IS NOT NULL OR delivered_at IS NOT NULL OR read_at IS NOT NULL
    GROUP BY ALL
)
SELECT campaign, day, market, category, sum(messages) AS messages, sum(price) AS price, currency, price_source
FROM accepted JOIN days USING (quarter)
GROUP BY ALL
ORDER BY campaign, day, market, category, currency, price_source;
